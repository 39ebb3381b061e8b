import { expect, it } from "vitest";
import { readWrk } from "./wrk.js";

const OUTPUT = (errors: number) => `Running 1s test @ http://10.0.0.1/
  200 requests in 1.00s, 20.00KB read
{"requests":200,"elapsedUs":500000,"bytes":20480,"errors":${errors},"p50Us":10,"p99Us":20,"p999Us":30}
`;

it("reads the rate and the percentiles", () => {
  expect(readWrk(OUTPUT(0), "url")).toEqual({
    values: { perSecond: 400, p50Us: 10, p99Us: 20, p999Us: 30 },
    work: { operations: 200, bytes: 20_480 },
  });
});

it("a rate with failed requests in it is no result", () => {
  expect(() => readWrk(OUTPUT(3), "http://x/")).toThrow("wrk http://x/: 200 requests, 3 of them failed");
  expect(() => readWrk("no report", "http://x/")).toThrow("no report in its output: no report");
});
