/** Does jobs one after the other, at once unless an earlier one still waits for something. */
export class Order {
  readonly #jobs: { readonly job: () => unknown; readonly after?: Promise<unknown> }[] = [];
  #draining = false;
  #idle: Promise<void> = Promise.resolve();

  /** @param after what the job, and so all later ones, must wait for. It must not reject. */
  add(job: () => unknown, after?: Promise<unknown>): void {
    if (!this.#draining && !after) {
      job();
      return;
    }
    this.#jobs.push({ job, after });
    if (!this.#draining) this.#idle = this.#drain();
  }

  /** When everything asked for so far has been done. */
  settled(): Promise<void> {
    return this.#idle;
  }

  async #drain(): Promise<void> {
    this.#draining = true;
    for (let next = this.#jobs.shift(); next; next = this.#jobs.shift()) {
      if (next.after) await next.after;
      next.job();
    }
    this.#draining = false;
  }
}
