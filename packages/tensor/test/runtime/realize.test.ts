import { beforeAll, describe, expect, test } from "vitest";
import { DeviceError, DisposedError, ShapeError, init, memory, ones, realize, tensor, zeros } from "../../src/index.ts";

beforeAll(() => init("cpu"));

describe("realize", () => {
  test("returns the same handles, which then read without computing again", async () => {
    const x = tensor([1, 2, 3]).square();
    const tree = { a: [x], note: "kept", n: 3 };
    expect(await realize(tree)).toBe(tree);
    expect(x.node.op).toBe("buffer");
    expect(await x.toArray()).toEqual([1, 4, 9]);
  });

  test("takes a handle that the tree holds twice", async () => {
    const x = tensor([1, 2]).add(1);
    await realize({ x, again: [x] });
    expect(await x.toArray()).toEqual([2, 3]);
  });

  test("leaves a graph that was made earlier with its meaning", async () => {
    const x = tensor([1, 2]);
    const y = x.mul(3);
    const z = y.add(1);
    await realize(y);
    expect(await z.toArray()).toEqual([4, 7]);
  });

  test("makes handles usable in flight, before it settles", async () => {
    const y = ones([2]).mul(3);
    const done = realize(y);
    expect(y.node.op).toBe("buffer");
    const z = y.add(1);
    expect(await z.toArray()).toEqual([4, 4]);
    await done;
  });

  test("gives two handles of one value one buffer, freed with the last of them", async () => {
    const before = memory().liveBytes;
    const x = tensor([1, 2]).add(1);
    const y = x.stopGradient();
    await realize([x, y]);
    expect(memory().liveBytes - before).toBe(16);
    x.dispose();
    expect(await y.toArray()).toEqual([2, 3]);
    y.dispose();
    expect(memory().liveBytes - before).toBe(8);
  });

  test("rejects when what it needs was disposed, naming both operations", async () => {
    const x = await realize(tensor([1]).exp());
    const y = x.tanh();
    x.dispose();
    await expect(y.data()).rejects.toThrow(DisposedError);
    await expect(y.data()).rejects.toThrow(/tanh: needs f32\[1\] made by exp, which was disposed/);
  });
});

describe("donation", () => {
  test("spends a tensor at once: later use throws", async () => {
    const x = await realize(tensor([1, 2]).mul(2));
    const y = x.add(1);
    const done = realize(y, { donate: [x] });
    expect(() => x.add(1)).toThrow(DisposedError);
    await done;
    expect(await y.toArray()).toEqual([3, 5]);
  });

  test("lets a donated tensor that is also returned pass through", async () => {
    const x = await realize(tensor([1, 2]).mul(2));
    const y = x.add(1);
    await realize({ x, y }, { donate: { x } });
    expect(await x.toArray()).toEqual([2, 4]);
  });

  test("counts a tensor donated twice once", async () => {
    const before = memory().liveTensors;
    const x = await realize(tensor([1, 2]).mul(2));
    const y = x.add(1);
    await realize(y, { donate: [x, x] });
    expect(await y.toArray()).toEqual([3, 5]);
    y.dispose();
    expect(memory().liveTensors).toBeLessThanOrEqual(before + 1);
  });

  test("keeps a buffer that another live handle views", async () => {
    const x = await realize(tensor([1, 2]).mul(2));
    const view = await realize(x.stopGradient());
    await realize(x.add(1), { donate: [x] });
    expect(await view.toArray()).toEqual([2, 4]);
  });

  test("keeps live bytes flat over steps", async () => {
    let params = await realize({ w: zeros([64, 64]) });
    const before = memory().liveBytes;
    for (let step = 0; step < 20; step++) {
      const next = { w: params.w.add(step) };
      await realize(next, { donate: params });
      params = next;
    }
    expect(memory().liveBytes).toBe(before);
  });
});

describe("reading", () => {
  test("copies: what a caller does to the data stays with the caller", async () => {
    const x = tensor([1, 2]);
    (await x.data())[0] = 9;
    const y = x.add(0);
    (await y.data())[0] = 9;
    expect(await y.data()).toEqual(Float32Array.of(1, 2));
    expect(await x.data()).toEqual(Float32Array.of(1, 2));
  });

  test("of a lazy tensor keeps no buffer on the device", async () => {
    const x = tensor([1, 2]).add(1);
    const before = memory().liveTensors;
    await x.data();
    expect(memory().liveTensors).toBe(before);
  });

  test("of a disposed tensor names the remedy", async () => {
    const x = tensor([1, 2]);
    x.dispose();
    await expect(x.data()).rejects.toThrow(/tensor f32\[2\] made by tensor was disposed; use it before that/);
  });

  test("as item asks for one element", async () => {
    expect(await tensor([[2]]).item()).toBe(2);
    await expect(tensor([1, 2]).item()).rejects.toThrow(/item: the tensor must have one element \(got f32\[2\]\)/);
  });

  test("several tensors in one turn reads one consistent state", async () => {
    const x = tensor([1, 2, 3]);
    const [s, m] = await Promise.all([x.sum().item(), x.mean().item()]);
    expect([s, m]).toEqual([6, 2]);
  });
});

describe("devices", () => {
  test("do not mix: the error says how to move a tensor", () => {
    const x = tensor([1], { device: "cpu" });
    const y = tensor([1], { device: "wasm" });
    expect(() => x.add(y)).toThrow(DeviceError);
    expect(() => x.add(y)).toThrow(/move one with .to\(device\)/);
  });

  test("using disposes at the end of the block", async () => {
    const before = memory().liveTensors;
    {
      using x = tensor([1, 2]);
      expect(await x.toArray()).toEqual([1, 2]);
    }
    expect(memory().liveTensors).toBe(before);
  });

  test("a wrong shape is refused at the line that asks for it, not when it runs", () => {
    expect(() => tensor([1, 2]).reshape([3])).toThrow(ShapeError);
  });
});
