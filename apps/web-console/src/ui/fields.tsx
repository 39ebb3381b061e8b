/** A form in a dialog: fields described by data, errors where they belong, and the command that does the same. */
import { useState } from "react";
import { messageOf } from "../live/session.js";
import { Action, Cli } from "./action.js";
import { Dialog } from "./dialog.js";
import { say } from "./toasts.js";

export interface Field {
  readonly key: string;
  readonly title: string;
  readonly hint?: string;
  readonly value?: string;
  readonly options?: readonly string[];
  readonly isFixed?: boolean;
  readonly isRequired?: boolean;
}

export type Values = Readonly<Record<string, string>>;

export function FormDialog(props: {
  readonly title: string;
  readonly fields: readonly Field[];
  readonly verb: string;
  readonly refusal: string | null;
  readonly done: string;
  /** The command line that does the same; may throw what is wrong with the values. */
  readonly cli: (values: Values) => string;
  readonly submit: (values: Values) => Promise<unknown>;
  readonly onClose: () => void;
  readonly children?: (values: Values) => React.ReactNode;
}) {
  const [values, setValues] = useState<Values>(
    Object.fromEntries(props.fields.map(({ key, value, options }) => [key, value ?? options?.[0] ?? ""])),
  );
  const [failure, setFailure] = useState("");
  const set = (key: string, value: string): void => setValues({ ...values, [key]: value });
  const submit = async (): Promise<void> => {
    try {
      await props.submit(values);
      say(props.done);
      props.onClose();
    } catch (error) {
      setFailure(messageOf(error));
    }
  };
  const command = commandOf(() => props.cli(values));
  return (
    <Dialog title={props.title} onClose={props.onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (props.refusal === null) void submit();
        }}
      >
        {props.fields.map((field) => (
          <FormField key={field.key} field={field} value={values[field.key] ?? ""} onChange={set} />
        ))}
        {failure === "" ? null : (
          <p className="alert" role="alert">
            {failure}
          </p>
        )}
        {props.children?.(values)}
        {command.problem === null ? <Cli command={command.text} /> : <p className="warn">{command.problem}</p>}
        <div className="row end">
          <Action onClick={props.onClose}>Cancel</Action>
          <Action type="submit" kind="primary" refusal={props.refusal}>
            {props.verb}
          </Action>
        </div>
      </form>
    </Dialog>
  );
}

function commandOf(write: () => string): { readonly text: string; readonly problem: string | null } {
  try {
    return { text: write(), problem: null };
  } catch (error) {
    return { text: "", problem: messageOf(error) };
  }
}

function FormField(props: {
  readonly field: Field;
  readonly value: string;
  readonly onChange: (key: string, value: string) => void;
}) {
  const { key, title, hint, options, isFixed, isRequired } = props.field;
  const id = `field-${key}`;
  return (
    <div className="field">
      <label htmlFor={id}>{title}</label>
      {options ? (
        <select id={id} value={props.value} disabled={isFixed} onChange={(e) => props.onChange(key, e.target.value)}>
          {options.map((each) => (
            <option key={each}>{each}</option>
          ))}
        </select>
      ) : (
        <input
          id={id}
          value={props.value}
          disabled={isFixed}
          required={isRequired}
          aria-describedby={hint ? `${id}-hint` : undefined}
          autoComplete="off"
          spellCheck={false}
          onChange={(e) => props.onChange(key, e.target.value)}
        />
      )}
      {hint ? (
        <small id={`${id}-hint`} className="dim">
          {hint}
        </small>
      ) : null}
    </div>
  );
}
