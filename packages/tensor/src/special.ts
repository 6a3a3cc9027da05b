/**
 * The special functions JavaScript lacks, in f64: within a few units in the last place, tails included.
 * The reference backend computes with them and every other device is tested against them. One closure that names
 * nothing outside itself, so that a worker can be given its text.
 */
export function specialFunctions() {
  /** erf(x)/x in powers of x², for |x| <= 1 (Chebyshev fit, relative error 7e-18). */
  const ERF = [
    1.1283791670955126, -0.37612638903183543, 0.11283791670945006, -0.02686617064323777, 0.0052239776071164225,
    -0.0008548325975389692, 0.00012055294904839707, -1.492473690741966e-5, 1.6447424703317362e-6,
    -1.6208483801871705e-7, 1.3720064546777686e-8, -7.795898827002142e-10,
  ];

  /** (x + 3)·exp(x²)·erfc(x) in powers of t = (x - 3)/(x + 3), for 0.5 <= x <= 28 (error 1e-18). */
  const ERFCX = [
    1.0740069070883398, -0.8833944531698836, 0.5902283571041019, -0.3104672619005623, 0.11952776128728534,
    -0.026827234624690048, -0.00121241662706329, 0.003034062004998403, -0.0005483096944582557, -0.0002767778827536371,
    0.00010756151837695237, 3.039836636644485e-5, -1.747079467491721e-5, -4.7499036800309276e-6, 2.7663973687135483e-6,
    1.0002071530355368e-6, -4.106863755584665e-7, -2.347279388786773e-7, 5.048301671704242e-8, 5.042345163513127e-8,
    -5.027555898054663e-9, -7.0534654496338235e-9, 7.573538166260855e-10,
  ];

  function polynomial(coefficients: readonly number[], x: number): number {
    let sum = 0;
    for (let i = coefficients.length - 1; i >= 0; i--) sum = sum * x + coefficients[i]!;
    return sum;
  }

  /** exp(x²)·erfc(x) for x in [0.5, 28]. */
  function scaledErfc(x: number): number {
    return polynomial(ERFCX, (x - 3) / (x + 3)) / (x + 3);
  }

  /** exp(-scale·x²), scale 1 or 1/2. Rounding x² would cost x²/2 units, so x is split into a part whose square is exact and a rest. */
  function gaussian(x: number, scale: number): number {
    const head = Math.round(x * 0x100000) / 0x100000;
    return Math.exp(-scale * head * head) * Math.exp(-scale * (x - head) * (x + head));
  }

  /** erfc on [0.5, ∞). */
  function erfcTail(x: number): number {
    return x > 28 ? 0 : gaussian(x, 1) * scaledErfc(x);
  }

  /** The error function, 2/√π · ∫₀ˣ exp(-t²) dt, within 2 ulp. */
  function erf(x: number): number {
    if (Math.abs(x) <= 1) return x * polynomial(ERF, x * x);
    return x > 0 ? 1 - erfcTail(x) : x < 0 ? erfcTail(-x) - 1 : x;
  }

  /** 1 - erf(x) without cancellation: within 6 ulp down to the subnormals. */
  function erfc(x: number): number {
    if (x < -0.5) return 2 - erfcTail(-x);
    return x < 0.5 ? 1 - erf(x) : x >= 0.5 ? erfcTail(x) : x;
  }

  /** The standard normal distribution function, within 6 ulp in both tails. */
  function normalCdf(x: number): number {
    const z = Math.abs(x) * Math.SQRT1_2;
    if (z < 0.5) return 0.5 + 0.5 * erf(x * Math.SQRT1_2);
    if (z > 28) return x > 0 ? 1 : 0;
    const tail = 0.5 * gaussian(x, 0.5) * scaledErfc(z);
    return x > 0 ? 1 - tail : tail;
  }

  /** log(1 + exp(x)), never overflowing, within 2 ulp. */
  function softplus(x: number): number {
    return x > 0 ? x + Math.log1p(Math.exp(-x)) : Math.log1p(Math.exp(x));
  }

  /** 1/(1 + exp(-x)), accurate in both tails, within 3 ulp. */
  function sigmoid(x: number): number {
    const e = Math.exp(-Math.abs(x));
    return x < 0 ? e / (1 + e) : 1 / (1 + e);
  }

  return { erf, erfc, normalCdf, softplus, sigmoid };
}

export const { erf, erfc, normalCdf, softplus, sigmoid } = specialFunctions();
