/** `durable.py`: what an application sees while something of its node is killed. */
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { Background } from "../fixture/background.js";

const PROGRAM = ["python3", "-B", resolve(fileURLToPath(import.meta.url), "../../../programs/durability/durable.py")];

/** Makes sockets until its input ends. */
export const SOCKETS: readonly string[] = [...PROGRAM, "sockets"];

/** As {@link SOCKETS}, and leaves the processor to what is tested: for hours, if need be. */
export const SOME_SOCKETS: readonly string[] = [...SOCKETS, "0.1"];

/** Keeps that many connections, and uses all of them at each line of its input. */
export function keep(address: string, port: number, count: number): readonly string[] {
  return [...PROGRAM, "keep", address, String(port), String(count)];
}

/** Connects again and again until its input ends. */
export function connect(address: string, port: number): readonly string[] {
  return [...PROGRAM, "connect", address, String(port)];
}

/** Tells whoever connects its name. */
export function own(port: number, name: string): readonly string[] {
  return [...PROGRAM, "own", String(port), name];
}

/** Says who answers, or the name of the error. */
export function ask(address: string, port: number): readonly string[] {
  return [...PROGRAM, "ask", address, String(port)];
}

/** The p99.9 of socket(2), and the longest, in a row of them that began before and ended after. */
export interface SocketReport {
  readonly count: number;
  readonly errors: Readonly<Record<string, number>>;
  readonly p999_ms: number;
  readonly longest_ms: number;
}

/** What is wanted of {@link SocketReport.p999_ms}. No test fails by it: none depends on how busy the machine is. */
export const GOAL = "the goal is 1,000 ms at the 99.9th percentile; it is printed, not asserted";

export async function finish(program: Background): Promise<SocketReport> {
  program.closeInput();
  const { stdout } = await program.ended;
  return JSON.parse(stdout.split("\n").find((line) => line.startsWith("{")) ?? "{}") as SocketReport;
}

/** Every connection answers. */
export async function use(programs: readonly Background[], round: string): Promise<string[]> {
  for (const program of programs) program.write(`${round}\n`);
  const said: string[] = [];
  for (const program of programs) said.push(...(await program.prints(new RegExp(`round ${round}: .*`))).slice(0, 1));
  return said;
}
