/** Completion scripts for the shells, from the grammar; they run nothing, so that a key press takes no time. Pure. */
import type { CompletionEntry } from "./tree.js";

export const SHELLS = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof SHELLS)[number];

export function completionScript(shell: Shell, entries: readonly CompletionEntry[]): string {
  switch (shell) {
    case "bash":
      return bashScript(entries);
    case "zsh":
      // zsh reads bash's completions by itself, and then knows the same.
      return `#compdef slimfast\nautoload -Uz bashcompinit && bashcompinit\n${bashScript(entries)}`;
    case "fish":
      return fishScript(entries);
  }
}

function bashScript(entries: readonly CompletionEntry[]): string {
  const paths = entries.map(({ path, subcommands, options }) => {
    const flags = options.map(({ flag }) => flag);
    return `    "${path.join(" ")}") words="${subcommands.join(" ")}"; flags="${flags.join(" ")}" ;;`;
  });
  const choices = entries.flatMap(({ path, options }) =>
    options
      .filter((option) => option.choices.length > 0)
      .map(({ flag, choices: values }) => `    "${[...path, flag].join(" ")}") values="${values.join(" ")}" ;;`),
  );
  const valued = new Set(
    entries.flatMap(({ options }) => options.filter((one) => one.takesValue).map((one) => one.flag)),
  );
  const known = entries.map(({ path }) => `"${path.join(" ")}"`).join("|");
  return `# Completion of slimfast. In bash: source <(slimfast completion bash)
_slimfast() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="" path="" words="" flags="" values="" word index
  [ "$COMP_CWORD" -gt 0 ] && previous="\${COMP_WORDS[COMP_CWORD-1]}"
  COMPREPLY=()
  for ((index = 1; index < COMP_CWORD; index++)); do
    word="\${COMP_WORDS[index]}"
    # What follows -- belongs to another program.
    [ "$word" = "--" ] && return 0
    case "\${path:+$path }$word" in
    ${known}) path="\${path:+$path }$word" ;;
    esac
  done
  case "$path $previous" in
${choices.join("\n") || "    '') ;;"}
  esac
  if [ -n "$values" ]; then
    COMPREPLY=($(compgen -W "$values" -- "$current"))
    return 0
  fi
  case "$previous" in
  ${[...valued].join("|")}) COMPREPLY=($(compgen -f -- "$current")); return 0 ;;
  esac
  case "$path" in
${paths.join("\n")}
  esac
  case "$current" in
  -*) COMPREPLY=($(compgen -W "$flags" -- "$current")) ;;
  *) COMPREPLY=($(compgen -W "$words" -- "$current")) ;;
  esac
}
complete -o default -F _slimfast slimfast ./slimfast
`;
}

function fishScript(entries: readonly CompletionEntry[]): string {
  const lines = entries.flatMap(({ path, subcommands, options }) => {
    const condition = `__slimfast_at ${path.length === 0 ? "''" : quote(path.join(" "))}`;
    const described = (name: string) =>
      entries.find((entry) => entry.path.join(" ") === [...path, name].join(" "))?.description ?? "";
    return [
      ...subcommands.map(
        (name) => `complete -c slimfast -f -n ${quote(condition)} -a ${quote(name)} -d ${quote(described(name))}`,
      ),
      ...options.map(({ flag, description, takesValue, choices }) => {
        const values = choices.length > 0 ? ` -x -a ${quote(choices.join(" "))}` : takesValue ? " -r" : "";
        return `complete -c slimfast -n ${quote(condition)} -l ${flag.replace(/^--/, "")} -d ${quote(description)}${values}`;
      }),
    ];
  });
  const known = entries.filter(({ path }) => path.length > 0).map(({ path }) => quote(path.join(" ")));
  return `# Completion of slimfast. In fish: slimfast completion fish | source
set -g __slimfast_paths ${known.join(" ")}
function __slimfast_at
    set -l words (commandline -opc)
    set -l path ''
    for word in $words[2..-1]
        set -l longer (string trim "$path $word")
        contains -- "$longer" $__slimfast_paths; and set path $longer
    end
    test "$path" = "$argv[1]"
end
${lines.join("\n")}
`;
}

function quote(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}
