/** The pages, as navigation, keyboard and commands name them. */

export interface PageEntry {
  readonly path: string;
  readonly title: string;
  /** After `g`. */
  readonly key: string;
  /** Path of a 16 x 16 picture, drawn with a line. */
  readonly icon: string;
}

export const GROUPS: readonly { readonly title: string; readonly pages: readonly PageEntry[] }[] = [
  {
    title: "Watch",
    pages: [
      { path: "/", title: "Overview", key: "o", icon: "M2 9h3l2-6 3 10 2-4h2" },
      { path: "/ports", title: "Port reservations", key: "p", icon: "M2 4h12v8H2zM5 4v8M8 4v4M11 4v8" },
      { path: "/connections", title: "Live connections", key: "c", icon: "M2 5h10l-3-3M14 11H4l3 3" },
      { path: "/map", title: "Map", key: "m", icon: "M3 3h3v3H3zM10 2h3v3h-3zM9 11h3v3H9zM6 5l4-1M5 6l5 5" },
    ],
  },
  {
    title: "Change",
    pages: [
      { path: "/nodes", title: "Nodes", key: "n", icon: "M2 3h12v4H2zM2 9h12v4H2zM4.5 5h.01M4.5 11h.01" },
      {
        path: "/networks",
        title: "Networks",
        key: "w",
        icon: "M8 2a6 6 0 100 12A6 6 0 008 2zM2 8h12M8 2c-4 4-4 8 0 12 4-4 4-8 0-12",
      },
      { path: "/endpoints", title: "Endpoints", key: "e", icon: "M8 2l5 3v6l-5 3-5-3V5zM3 5l5 3 5-3M8 8v6" },
      {
        path: "/policies",
        title: "Policies",
        key: "l",
        icon: "M8 2l5 2v4c0 3-2 5-5 6-3-1-5-3-5-6V4zM6 8l1.5 1.5L10.5 6",
      },
    ],
  },
  {
    title: "Account for",
    pages: [
      { path: "/audit", title: "Audit log", key: "a", icon: "M3 2h10v12H3zM5.5 5.5h5M5.5 8h5M5.5 10.5h3" },
      { path: "/tokens", title: "Tokens", key: "t", icon: "M5 8a2.5 2.5 0 100 5 2.5 2.5 0 000-5zM7 9l6-6M11 5l2 2" },
    ],
  },
];

export const PAGES: readonly PageEntry[] = GROUPS.flatMap(({ pages }) => pages);
