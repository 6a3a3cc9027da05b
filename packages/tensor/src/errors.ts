/** The error family. Each message names the op, the rule, what it got and, where there is one, the remedy. */
export class SwitchyardError extends Error {
  override name = "SwitchyardError";
}

/** Shapes, axes or sizes that do not fit together. */
export class ShapeError extends SwitchyardError {
  override name = "ShapeError";
}

/** An element type that an operation does not take, or two that do not match. */
export class DTypeError extends SwitchyardError {
  override name = "DTypeError";
}

/** A device that is missing, lost, out of memory, or unable to do what was asked. */
export class DeviceError extends SwitchyardError {
  override name = "DeviceError";
}

/** A tensor used after `dispose` or after it was donated. */
export class DisposedError extends SwitchyardError {
  override name = "DisposedError";
}

/** A derivative that does not exist, was asked of the wrong thing, or is wrong. */
export class GradientError extends SwitchyardError {
  override name = "GradientError";
}

/** A file whose bytes are not what its format says. */
export class FormatError extends SwitchyardError {
  override name = "FormatError";
}

/** An option, flag or configuration that is unknown or out of range. */
export class ConfigError extends SwitchyardError {
  override name = "ConfigError";
}

/** A fault inside the framework: never the user's doing. */
export const internal = (message: string): Error => new Error(`internal: ${message}`);
