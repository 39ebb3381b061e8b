/** Keys that work on every page: `/`, `?`, `g` and a letter, Ctrl K. */
import { useEffect, useRef } from "react";
import { PAGES } from "./pages.js";

/** How long after `g` the letter may come. */
const CHORD_MS = 1_200;

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.closest("input, textarea, select, dialog") !== null;
}

export interface KeyboardActions {
  readonly goTo: (path: string) => void;
  readonly showHelp: () => void;
  readonly showPalette: () => void;
}

export function useKeyboard(actions: KeyboardActions): void {
  const latest = useRef(actions);
  latest.current = actions;
  // Once only: what is shown may change between the two keys of a chord.
  useEffect(() => {
    let chordUntil = 0;
    const onKey = (event: KeyboardEvent): void => {
      if (event.key.toLowerCase() === "k" && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        latest.current.showPalette();
        return;
      }
      if (event.key === "Escape" && event.target instanceof HTMLInputElement) event.target.blur();
      if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
      const target = PAGES.find(({ key }) => key === event.key);
      const isChord = Date.now() < chordUntil;
      chordUntil = event.key === "g" ? Date.now() + CHORD_MS : 0;
      if (isChord && target) latest.current.goTo(target.path);
      else if (event.key === "?") latest.current.showHelp();
      else if (event.key === "/") {
        event.preventDefault();
        document.querySelector<HTMLInputElement>("input[data-filter]")?.focus();
      }
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, []);
}
