// Who may import whom. One direction only: web-console -> ts-client -> proto; controller -> proto; agent and cli ->
// ts-client, proto and the core's facade; only the facade loads the addon. Checked by `nx run workspace:lint`.

/** A project may import these folders and itself, and nothing else of this repository. */
function only(name, from, allowed) {
  const targets = [from, ...allowed].map((folder) => `^${folder}/`).join("|");
  return {
    name: `${name}-imports`,
    comment: `${from} may import only ${allowed.length > 0 ? allowed.join(", ") : "itself"}`,
    severity: "error",
    from: { path: `^${from}/` },
    to: { path: "^(apps|libs|crates|e2e|tools)/", pathNot: targets },
  };
}

module.exports = {
  forbidden: [
    only("proto", "libs/proto", []),
    only("telemetry", "libs/telemetry", []),
    only("client", "libs/ts-client", ["libs/proto"]),
    only("web-console", "apps/web-console", ["libs/ts-client", "libs/proto"]),
    only("controller", "apps/controller", ["libs/proto", "libs/telemetry"]),
    only("agent", "apps/agent", ["libs/ts-client", "libs/proto", "libs/telemetry", "crates/slimfast-napi"]),
    only("cli", "apps/cli", ["libs/ts-client", "libs/proto", "libs/telemetry", "crates/slimfast-napi"]),
    only("core", "crates/slimfast-napi", []),
    {
      name: "only-the-facade-loads-the-addon",
      severity: "error",
      from: { pathNot: "^crates/slimfast-napi/ts/" },
      to: { path: "\\.node$" },
    },
    {
      name: "no-inner-files-of-other-projects",
      comment: "other projects are imported by their package name",
      severity: "error",
      from: { path: "^(apps|libs|crates)/([^/]+)/" },
      to: { path: "^(apps|libs|crates)/[^/]+/(src|ts)/", pathNot: "^$1/$2/" },
    },
    {
      name: "no-cycles",
      severity: "error",
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ["type-only"] } },
    },
    {
      name: "no-undeclared-packages",
      severity: "error",
      from: { path: "^(apps|libs|crates)/", pathNot: "\\.test\\.ts$" },
      to: { dependencyTypes: ["npm-no-pkg", "npm-unknown"] },
    },
    { name: "resolvable", severity: "error", from: {}, to: { couldNotResolve: true, pathNot: "\\.node$" } },
  ],
  options: {
    doNotFollow: { path: "node_modules|/dist/" },
    exclude: { path: "/generated/|/dist-types/|/dist/.*\\.map$|^apps/[^/]+/bundle/" },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.base.json" },
    preserveSymlinks: false,
    enhancedResolveOptions: {
      exportsFields: ["exports"],
      conditionNames: ["types", "import", "default"],
    },
  },
};
