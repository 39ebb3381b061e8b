/** The filter that connections and the map share, in the URL, with values that are there suggested. */
import type { ConnectionRecord } from "@slimfast/proto";
import { useMemo } from "react";
import { type ConnectionFilter, FILTER_KEYS, isEmpty, NO_FILTER, servicePort, suggestions } from "../../live/filter.js";
import { Action } from "../../ui/action.js";
import { Choice, TextFilter } from "../../ui/filters.js";
import { useUrlSearch } from "../../ui/url.js";

export function useConnectionFilter(): [ConnectionFilter, (changes: Partial<ConnectionFilter>) => void] {
  const [search, change] = useUrlSearch();
  const values = FILTER_KEYS.map((key) => [key, search[key] ?? ""]);
  return [Object.fromEntries(values) as ConnectionFilter, (changes) => change(changes as Record<string, string>)];
}

/** Records that values are suggested from: the newest. */
const LOOKED_AT = 2_000;

export interface FilterValues {
  readonly network: readonly string[];
  readonly node: readonly string[];
  readonly endpoint: readonly string[];
  readonly port: readonly string[];
}

export function useValuesOf(records: readonly ConnectionRecord[]): FilterValues {
  return useMemo(() => {
    const newest = records.slice(0, LOOKED_AT);
    return {
      network: suggestions(newest, ({ connection }) => connection?.network),
      node: suggestions(newest, ({ connection }) => connection?.node),
      endpoint: suggestions(newest, ({ connection }) => connection?.endpoint),
      port: suggestions(newest, (record) => String(servicePort(record) || "")),
    };
  }, [records]);
}

export function FilterBar(props: {
  readonly filter: ConnectionFilter;
  readonly onChange: (changes: Partial<ConnectionFilter>) => void;
  readonly values: FilterValues;
}) {
  const { filter, onChange, values } = props;
  return (
    <>
      {(["endpoint", "port", "node", "network"] as const).map((key) => (
        <TextFilter
          key={key}
          label={key}
          isMain={key === "endpoint"}
          placeholder={key === "endpoint" ? "endpoint, IP   /" : key}
          size={{ port: 4, endpoint: 15, node: 6, network: 8 }[key]}
          isNumber={key === "port"}
          suggestions={values[key]}
          value={filter[key]}
          onChange={(value) => onChange({ [key]: value })}
        />
      ))}
      <Choice
        label="State"
        value={filter.state}
        options={["live", "closed", "refused"]}
        onChange={(state) => onChange({ state })}
      />
      <Choice
        label="Verdict"
        value={filter.verdict}
        options={["allowed", "denied"]}
        onChange={(verdict) => onChange({ verdict })}
      />
      <Choice
        label="Tier"
        value={filter.tier}
        options={["notify", "preload"]}
        onChange={(tier) => onChange({ tier })}
      />
      <TextFilter
        label="Least age in seconds"
        placeholder="age ≥ s"
        size={5}
        isNumber
        value={filter.minAge}
        onChange={(minAge) => onChange({ minAge })}
      />
      <TextFilter
        label="Least bytes in a direction"
        placeholder="bytes ≥"
        size={5}
        isNumber
        value={filter.minBytes}
        onChange={(minBytes) => onChange({ minBytes })}
      />
      {isEmpty(filter) ? null : <Action onClick={() => onChange(NO_FILTER)}>Clear</Action>}
    </>
  );
}
