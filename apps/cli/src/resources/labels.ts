/** Changes of labels as command lines have them: `KEY=VALUE` sets, `KEY-` removes. */
import { CliError } from "../exit-codes.js";
import { parseLabel } from "./values.js";

/** @throws CliError `usage` */
export function changeLabels(
  labels: Readonly<Record<string, string>>,
  changes: readonly string[],
): Record<string, string> {
  const result = { ...labels };
  for (const change of changes) {
    if (change.includes("=")) {
      const [key, value] = parseLabel(change, "label");
      result[key] = value;
    } else if (/^.+-$/.test(change)) delete result[change.slice(0, -1)];
    else throw new CliError("usage", `label ${change}: must be KEY=VALUE, or KEY- to remove it`);
  }
  return result;
}
