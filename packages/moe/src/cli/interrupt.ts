/** Signals that ask a process to end. */
const asking = ["SIGINT", "SIGTERM"] as const;
/** One Ctrl-C may arrive twice, from the terminal and from the process that started this one. */
const sameCtrlC = 500;

/**
 * Turns Ctrl-C into an abort signal. A second one ends the process at once.
 *
 * @returns the signal, and `release`, after which Ctrl-C is again what it was.
 */
export function stopOnInterrupt(): { readonly signal: AbortSignal; release(): void } {
  const controller = new AbortController();
  let first = Infinity;
  const stop = (): void => {
    if (performance.now() - first > sameCtrlC) process.exit(130);
    first = Math.min(first, performance.now());
    controller.abort();
  };
  for (const name of asking) process.on(name, stop);
  return {
    signal: controller.signal,
    release: () => {
      for (const name of asking) process.off(name, stop);
    },
  };
}
