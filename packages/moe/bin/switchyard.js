#!/usr/bin/env node
console.error("switchyard: the command line is not built yet");
process.exitCode = 1;
