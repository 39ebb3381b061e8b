/** Dark or light: what the system says, until somebody chooses. The choice is all that is kept in the browser's storage. */
import { useEffect, useState } from "react";

export type Theme = "dark" | "light";

const KEY = "slimfast-theme";
const dark = matchMedia("(prefers-color-scheme: dark)");

function chosen(): Theme | null {
  const value = localStorage.getItem(KEY);
  return value === "dark" || value === "light" ? value : null;
}

const current = (): Theme => chosen() ?? (dark.matches ? "dark" : "light");

/** Before anything is drawn, so that nothing flashes. */
export function applyTheme(): void {
  document.documentElement.dataset.theme = current();
}

export function useTheme(): [Theme, () => void] {
  const [theme, setTheme] = useState(current);
  useEffect(() => {
    const follow = (): void => setTheme(current());
    dark.addEventListener("change", follow);
    return () => dark.removeEventListener("change", follow);
  }, []);
  useEffect(() => {
    document.documentElement.dataset.theme = theme;
  }, [theme]);
  const toggle = (): void => {
    localStorage.setItem(KEY, theme === "dark" ? "light" : "dark");
    setTheme(current());
  };
  return [theme, toggle];
}

/** For what is drawn by others' code: follows the theme of the page. */
export function useShownTheme(): Theme {
  const read = (): Theme => (document.documentElement.dataset.theme === "dark" ? "dark" : "light");
  const [theme, setTheme] = useState(read);
  useEffect(() => {
    const observer = new MutationObserver(() => setTheme(read()));
    observer.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    return () => observer.disconnect();
  });
  return theme;
}
