/** The version of the package, for messages about two copies of it. */
export const version = "0.1.0";
