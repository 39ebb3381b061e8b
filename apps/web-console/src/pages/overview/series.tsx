/** A line chart of the last two minutes. */
import { useEffect, useRef } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { useShownTheme } from "../../ui/theme.js";

export interface Line {
  readonly title: string;
  /** A variable of the theme. */
  readonly color: string;
  readonly values: readonly (number | null)[];
}

export function Series(props: {
  readonly label: string;
  /** Seconds since the epoch. */
  readonly times: readonly number[];
  readonly lines: readonly Line[];
  readonly format: (value: number) => string;
  readonly height: number;
}) {
  const { times, lines, format, height } = props;
  const element = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const theme = useShownTheme();
  const shape = lines.map(({ title, color }) => `${title} ${color}`).join();
  // biome-ignore lint/correctness/useExhaustiveDependencies: the plot takes its colours from the theme, and its lines from the shape
  useEffect(() => {
    const parent = element.current;
    if (!parent) return;
    const style = getComputedStyle(document.documentElement);
    const color = (name: string): string => style.getPropertyValue(name).trim();
    const axis = {
      stroke: color("--dim"),
      grid: { stroke: color("--line"), width: 1 },
      ticks: { show: false },
      font: "11px system-ui, sans-serif",
    };
    plot.current = new uPlot(
      {
        width: parent.clientWidth,
        height,
        legend: { show: false },
        cursor: { show: false },
        scales: { y: { range: (_, _least, most) => [0, most > 0 ? most * 1.1 : 1] } },
        axes: [
          {
            ...axis,
            values: (_, splits) => splits.map((each) => new Date(each * 1_000).toLocaleTimeString("en-GB")),
            space: 90,
            size: 26,
          },
          { ...axis, values: (_, splits) => splits.map((each) => (each === 0 ? "0" : format(each))), size: 62 },
        ],
        series: [{}, ...lines.map((line) => ({ stroke: color(line.color), width: 1.5, points: { show: false } }))],
      },
      [[], ...lines.map(() => [])],
      parent,
    );
    const resize = new ResizeObserver(() => plot.current?.setSize({ width: parent.clientWidth, height }));
    resize.observe(parent);
    return () => {
      resize.disconnect();
      plot.current?.destroy();
      plot.current = null;
    };
  }, [theme, shape]);
  useEffect(() => {
    plot.current?.setData([[...times], ...lines.map(({ values }) => [...values])]);
  });
  return (
    <>
      <div className="chart" ref={element} role="img" aria-label={props.label} />
      <p className="row legend dim">
        {lines.map(({ title, color }) => (
          <span key={title}>
            <span className={`swatch ${color.slice(2)}`} /> {title}
          </span>
        ))}
      </p>
    </>
  );
}
