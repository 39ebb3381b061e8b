/**
 * Update masks (AIP-134, AIP-161): which fields of a resource an update is about. Pure.
 *
 * A mask that is not set or empty, or `*`, means all that can be changed. `labels.KEY` is about that label alone: it is
 * set as the request has it, or removed if the request does not have it.
 */
import type { DescMessage } from "@bufbuild/protobuf";
import { invalidField } from "../errors.js";
import type { Labels } from "./resources.js";
import { shown } from "./validation.js";

const LABEL = "labels.";

export class UpdateMask {
  readonly #fields: ReadonlySet<string>;
  readonly #labelKeys: readonly string[];

  constructor(fields: Iterable<string>, labelKeys: readonly string[] = []) {
    this.#fields = new Set(fields);
    this.#labelKeys = labelKeys;
  }

  /** Whether the field as a whole is updated. */
  has(field: string): boolean {
    return this.#fields.has(field);
  }

  /** The wanted value if the field is updated, else the present one. */
  choose<Value>(field: string, wanted: Value, present: Value): Value {
    return this.has(field) ? wanted : present;
  }

  labels(wanted: Labels, present: Labels): Labels {
    if (this.has("labels")) return { ...wanted };
    const result = new Map(Object.entries(present));
    for (const key of this.#labelKeys) {
      const value = Object.hasOwn(wanted, key) ? wanted[key] : undefined;
      if (value === undefined) result.delete(key);
      else result.set(key, value);
    }
    return Object.fromEntries(result);
  }
}

/**
 * Reads the paths of a request's `update_mask`.
 *
 * @param mutable The fields that can be changed.
 * @throws ClusterError `invalid_argument` that names the path.
 */
export function readUpdateMask(
  paths: readonly string[] | undefined,
  type: DescMessage,
  mutable: readonly string[],
): UpdateMask {
  if (!paths || paths.length === 0 || (paths.length === 1 && paths[0] === "*")) return new UpdateMask(mutable);
  const fields: string[] = [];
  const labelKeys: string[] = [];
  for (const path of paths) {
    if (mutable.includes(path)) {
      fields.push(path);
    } else if (path.startsWith(LABEL) && path.length > LABEL.length && mutable.includes("labels")) {
      labelKeys.push(path.slice(LABEL.length));
    } else {
      const isField = type.fields.some(({ name }) => name === path);
      const problem = isField ? "cannot be changed" : "is not a field that can be named here";
      throw invalidField("update_mask", `${shown(path)} ${problem}; these can: ${mutable.join(", ")}`);
    }
  }
  return new UpdateMask(fields, labelKeys);
}
