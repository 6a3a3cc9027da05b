/** Whether a step is among about so many of a run that are told of, the first and the last among them. */
export const aboutTimes =
  (times: number) =>
  (step: number, steps: number): boolean =>
    step === 1 || step === steps || Math.floor((step * times) / steps) > Math.floor(((step - 1) * times) / steps);
