/** Dialogs, drawers, and asking before something breaks. */
import { type ReactNode, useEffect, useRef, useState } from "react";
import { Action, Cli } from "./action.js";

export interface DialogProps {
  readonly title: string;
  readonly onClose: () => void;
  readonly children: ReactNode;
  readonly kind?: "drawer" | "wide";
}

export function Dialog({ title, onClose, children, kind }: DialogProps) {
  const element = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    element.current?.showModal();
    element.current?.querySelector<HTMLElement>(".dialog-body :is(input, select):enabled")?.focus();
  }, []);
  return (
    <dialog
      ref={element}
      aria-label={title}
      className={kind}
      onClose={onClose}
      onPointerDown={(event) => {
        // A press beside the dialog is one on the dialog's own element.
        if (event.target === element.current && kind === "drawer") element.current?.close();
      }}
    >
      <div className="dialog-head">
        <h2 className="grow">{title}</h2>
        <button type="button" className="quiet" aria-label="Close" onClick={() => element.current?.close()}>
          ×
        </button>
      </div>
      <div className="dialog-body">{children}</div>
    </dialog>
  );
}

/** `breaks` says what will break. */
export function Confirm(props: {
  readonly title: string;
  readonly breaks: ReactNode;
  readonly verb: string;
  readonly cli: string;
  readonly onConfirm: () => unknown;
  readonly onClose: () => void;
}) {
  const [isDone, setDone] = useState(false);
  return (
    <Dialog title={props.title} onClose={props.onClose}>
      <div className="breaks">{props.breaks}</div>
      <Cli command={props.cli} />
      <div className="row end">
        <Action onClick={props.onClose}>Keep</Action>
        <Action
          kind="danger"
          refusal={isDone ? "it is being done" : null}
          onClick={() => {
            setDone(true);
            void Promise.resolve(props.onConfirm()).finally(props.onClose);
          }}
        >
          {props.verb}
        </Action>
      </div>
    </Dialog>
  );
}
