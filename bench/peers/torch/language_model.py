tasks = {}
