/** The page's state, which lives in the URL: every view can be linked, and comes back after a reload. */
import { useNavigate, useSearch } from "@tanstack/react-router";

type Search = Readonly<Record<string, string>>;

/** Opening these is a step that Back undoes; everything else changes the view in place. */
const STEPS: ReadonlySet<string> = new Set(["id", "form"]);

export function parseSearch(text: string): Record<string, string> {
  return Object.fromEntries(new URLSearchParams(text));
}

export function stringifySearch(search: Readonly<Record<string, unknown>>): string {
  const entries = Object.entries(search).filter(([, value]) => value !== undefined && value !== "");
  const text = new URLSearchParams(entries.map(([key, value]) => [key, String(value)])).toString();
  return text === "" ? "" : `?${text}`;
}

/** All of it. What equals its fallback is left out of the URL. */
export function useUrlSearch(): [Search, (changes: Readonly<Record<string, string>>) => void] {
  const search = useSearch({ strict: false }) as Search;
  const navigate = useNavigate();
  const change = (changes: Readonly<Record<string, string>>): void => {
    void navigate({
      to: ".",
      replace: !Object.entries(changes).some(([key, value]) => STEPS.has(key) && value !== ""),
      search: ((old: Search) => ({ ...old, ...changes })) as never,
    });
  };
  return [search, change];
}

/** One piece of it. */
export function useUrlState(key: string, fallback = ""): [string, (value: string) => void] {
  const [search, change] = useUrlSearch();
  return [search[key] ?? fallback, (value) => change({ [key]: value === fallback ? "" : value })];
}
