/** Inputs that narrow what is shown, and keep that in the URL. */
import { useEffect, useId, useRef, useState } from "react";

const TYPING_PAUSE_MS = 120;

/**
 * Text that is written to the URL after a pause in the typing. What comes back from there late, while somebody types on,
 * does not overwrite what was typed since.
 */
export function TextFilter(props: {
  readonly label: string;
  readonly value: string;
  readonly onChange: (value: string) => void;
  readonly placeholder?: string;
  /** Whether `/` leads here. */
  readonly isMain?: boolean;
  readonly size?: number;
  readonly isNumber?: boolean;
  readonly suggestions?: readonly string[];
}) {
  const { value, onChange, suggestions } = props;
  const [text, setText] = useState(value);
  const sent = useRef<string[]>([]);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const list = useId();
  useEffect(() => {
    const index = sent.current.indexOf(value);
    if (index >= 0) sent.current.splice(0, index + 1);
    else setText(value);
  }, [value]);
  useEffect(() => () => clearTimeout(timer.current), []);
  const change = (next: string): void => {
    setText(next);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => {
      sent.current.push(next);
      onChange(next);
    }, TYPING_PAUSE_MS);
  };
  return (
    <>
      <input
        data-filter={props.isMain || undefined}
        type="search"
        aria-label={props.label}
        placeholder={props.placeholder ?? props.label}
        size={props.size ?? 12}
        inputMode={props.isNumber ? "numeric" : undefined}
        list={suggestions ? list : undefined}
        autoComplete="off"
        spellCheck={false}
        value={text}
        onChange={(event) => change(event.target.value)}
      />
      {suggestions ? (
        <datalist id={list}>
          {suggestions.map((each) => (
            <option key={each} value={each} />
          ))}
        </datalist>
      ) : null}
    </>
  );
}

export function Choice(props: {
  readonly label: string;
  readonly value: string;
  readonly options: readonly string[];
  readonly onChange: (value: string) => void;
}) {
  return (
    <select
      aria-label={props.label}
      className={props.value === "" ? undefined : "chosen"}
      value={props.value}
      onChange={(event) => props.onChange(event.target.value)}
    >
      <option value="">{props.label}: all</option>
      {props.options.map((each) => (
        <option key={each}>{each}</option>
      ))}
    </select>
  );
}

/** Whether a text has all words of the filter in it, in any case. */
export function hasWords(filter: string, text: string): boolean {
  const lower = text.toLowerCase();
  return filter
    .toLowerCase()
    .split(/\s+/)
    .every((word) => lower.includes(word));
}
