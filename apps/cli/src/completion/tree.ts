/** The commands and their options as completion scripts need them: one entry for each path of words. Pure. */
import type { Command, Option } from "commander";

export interface CompletionEntry {
  /** The command's words, `slimfast` not among them; empty for the program itself. */
  readonly path: readonly string[];
  readonly description: string;
  readonly subcommands: readonly string[];
  /** Long options. */
  readonly options: readonly {
    readonly flag: string;
    readonly description: string;
    readonly takesValue: boolean;
    readonly choices: readonly string[];
  }[];
}

export function completionEntries(command: Command, path: readonly string[] = []): CompletionEntry[] {
  const subcommands = visible(command);
  const entry: CompletionEntry = {
    path,
    description: command.description(),
    subcommands: subcommands.map((one) => one.name()),
    options: [...command.options.filter((option) => !option.hidden).map(describe), HELP],
  };
  return [entry, ...subcommands.flatMap((one) => completionEntries(one, [...path, one.name()]))];
}

const HELP = { flag: "--help", description: "display help for command", takesValue: false, choices: [] };

function describe(option: Option) {
  return {
    flag: option.long ?? option.flags,
    description: option.description,
    takesValue: option.required || option.optional,
    choices: option.argChoices ?? [],
  };
}

/** Hidden ones are for the program itself. */
export function visible(command: Command): Command[] {
  return command
    .createHelp()
    .visibleCommands(command)
    .filter((one) => one.name() !== "help");
}
