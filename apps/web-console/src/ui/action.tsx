/** Buttons that say why they may not be pressed, and the command that does the same. */
import { type ReactNode, useId } from "react";
import { say } from "./toasts.js";

export interface ActionProps {
  readonly children: ReactNode;
  readonly onClick?: () => void;
  /** Why it may not be pressed; null: it may. */
  readonly refusal?: string | null;
  readonly kind?: "primary" | "danger" | "quiet";
  readonly type?: "button" | "submit";
  readonly label?: string;
  readonly isPressed?: boolean;
}

/**
 * One that may not be pressed can still be reached by keyboard, so that the reason can be read: as a description, by
 * pointing at it, and by pressing it.
 */
export function Action({ children, onClick, refusal = null, kind, type = "button", label, isPressed }: ActionProps) {
  const reason = useId();
  if (refusal === null) {
    return (
      <button type={type} className={kind} aria-label={label} aria-pressed={isPressed} onClick={onClick}>
        {children}
      </button>
    );
  }
  return (
    <>
      <button
        type="button"
        className={kind}
        aria-disabled="true"
        aria-label={label}
        aria-describedby={reason}
        title={refusal}
        onClick={() => say(`This cannot be done: ${refusal}.`, true)}
      >
        {children}
      </button>
      <span id={reason} className="unseen">
        {refusal}
      </span>
    </>
  );
}

/** The command that does the same. `mark` tells it from another one in the same place. */
export function Cli({
  command,
  title = "The same by command line",
  mark = "cli",
}: {
  readonly command: string;
  readonly title?: string;
  readonly mark?: string;
}) {
  return (
    <div className="cli">
      <div className="row">
        <span className="dim grow">{title}</span>
        <button
          type="button"
          className="quiet"
          onClick={() => {
            // Only pages that came by TLS, or from this machine, may write to the clipboard.
            const writing = navigator.clipboard?.writeText(command) ?? Promise.reject(new Error("no clipboard"));
            writing.then(
              () => say("Copied."),
              () => say("The browser does not let this page copy: select the text.", true),
            );
          }}
        >
          Copy
        </button>
      </div>
      <code data-testid={mark}>{command}</code>
    </div>
  );
}
