import { expect, test } from "vitest";
import { SESSION_GRACE_MS, SESSION_IDLE_MS, SESSION_LIFETIME_MS, SESSION_ROTATION_MS } from "../limits.js";
import { Sessions } from "./sessions.js";

function setUp() {
  const clock = { now: 0 };
  return { clock, sessions: new Sessions(() => clock.now) };
}

test("an id leads to its token, and nothing else does", () => {
  const { sessions } = setUp();
  const id = sessions.open("t");
  expect(sessions.tokenOf(id)).toBe("t");
  expect(sessions.tokenOf("other")).toBeUndefined();
  sessions.close(id);
  expect(sessions.tokenOf(id)).toBeUndefined();
});

test("the id changes with time; the one before is good for a moment", () => {
  const { clock, sessions } = setUp();
  const id = sessions.open("t");
  expect(sessions.rotate(id)).toBeUndefined();
  clock.now = SESSION_ROTATION_MS;
  const next = sessions.rotate(id) ?? "";
  expect(sessions.tokenOf(next)).toBe("t");
  expect(sessions.tokenOf(id)).toBe("t");
  clock.now += SESSION_GRACE_MS + 1;
  expect(sessions.tokenOf(id)).toBeUndefined();
  expect(sessions.tokenOf(next)).toBe("t");
});

test("a session ends when idle, and at the end of its life however busy", () => {
  const { clock, sessions } = setUp();
  const idle = sessions.open("t");
  clock.now = SESSION_IDLE_MS + 1;
  expect(sessions.tokenOf(idle)).toBeUndefined();
  const busy = sessions.open("t");
  const end = clock.now + SESSION_LIFETIME_MS;
  for (; clock.now < end; clock.now += SESSION_IDLE_MS / 2) expect(sessions.tokenOf(busy)).toBe("t");
  clock.now = end + 1;
  expect(sessions.tokenOf(busy)).toBeUndefined();
});
