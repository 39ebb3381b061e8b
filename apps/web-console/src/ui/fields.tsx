/** A form in a dialog: fields described by data, errors where they belong. */
import { useState } from "react";
import { messageOf } from "../live/session.js";
import { Dialog, say } from "./parts.js";

export interface Field {
  readonly key: string;
  readonly title: string;
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
  readonly submit: (values: Values) => Promise<unknown>;
  readonly onClose: () => void;
  readonly children?: (values: Values) => React.ReactNode;
}) {
  const [values, setValues] = useState<Values>(
    Object.fromEntries(props.fields.map(({ key, value }) => [key, value ?? ""])),
  );
  const [failure, setFailure] = useState("");
  const set = (key: string, value: string): void => setValues({ ...values, [key]: value });
  return (
    <Dialog title={props.title} onClose={props.onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          Promise.resolve()
            .then(() => props.submit(values))
            .then(
              () => {
                say(props.done);
                props.onClose();
              },
              (error: unknown) => setFailure(messageOf(error)),
            );
        }}
      >
        {props.fields.map(({ key, title, options, isFixed, isRequired }) => (
          <label className="field" key={key} htmlFor={`field-${key}`}>
            <span>{title}</span>
            {options ? (
              <select
                id={`field-${key}`}
                value={values[key]}
                disabled={isFixed}
                onChange={(event) => set(key, event.target.value)}
              >
                {options.map((each) => (
                  <option key={each}>{each}</option>
                ))}
              </select>
            ) : (
              <input
                id={`field-${key}`}
                value={values[key]}
                disabled={isFixed}
                required={isRequired}
                onChange={(event) => set(key, event.target.value)}
              />
            )}
          </label>
        ))}
        {failure === "" ? null : (
          <p className="alert" role="alert">
            {failure}
          </p>
        )}
        {props.children?.(values)}
        <button type="submit" className="primary" disabled={props.refusal !== null} title={props.refusal ?? undefined}>
          {props.verb}
        </button>
      </form>
    </Dialog>
  );
}
