export { routing, type RoutingConstraints } from "./routing.ts";
