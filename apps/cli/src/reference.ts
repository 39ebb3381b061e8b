/** The command reference, in Markdown, from the grammar. Pure. */
import type { Command } from "commander";
import { visible } from "./completion/tree.js";

export const REFERENCE_BEGIN = "<!-- Generated from the grammar by `slimfast reference`: do not edit below. -->";

export function reference(program: Command): string {
  const sections = visible(program).flatMap((command) => sectionsOf(command, ["slimfast"]));
  return [REFERENCE_BEGIN, "", "## Commands", "", ...sections].join("\n").trimEnd();
}

function sectionsOf(command: Command, parents: readonly string[]): string[] {
  const path = [...parents, command.name()];
  const children = visible(command);
  const below = children.flatMap((child) => sectionsOf(child, path));
  // A command that has others below it may do something by itself: then it takes arguments.
  if (children.length > 0 && command.registeredArguments.length === 0) return below;
  const help = command.createHelp();
  const lines = [`### \`${path.join(" ")}\``, "", sentence(command.description()), "", "```"];
  lines.push(help.commandUsage(command), "```", "");
  const rows = [
    ...help
      .visibleArguments(command)
      .map((argument) => [`\`${help.argumentTerm(argument)}\``, help.argumentDescription(argument)]),
    ...help
      .visibleOptions(command)
      .filter((option) => option.long !== "--help")
      .map((option) => [`\`${help.optionTerm(option)}\``, help.optionDescription(option)]),
  ];
  if (rows.length > 0) {
    lines.push("| | |", "| --- | --- |");
    for (const [term = "", text = ""] of rows) lines.push(`| ${cell(term)} | ${cell(text)} |`);
    lines.push("");
  }
  return [...lines, ...below];
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("<", text.startsWith("`") ? "<" : "&lt;");
}
