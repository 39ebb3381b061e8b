import { createRoot } from "react-dom/client";
import { App } from "./app.js";
import "./ui/styles/theme.css";
import "./ui/styles/controls.css";
import "./ui/styles/frame.css";
import "./ui/styles/tables.css";
import "./ui/styles/pages.css";
import "./ui/styles/dialogs.css";
import "./ui/styles/narrow.css";

const root = document.getElementById("root");
if (root) createRoot(root).render(<App />);
