// What docs/assets/codemirror.js has of CodeMirror: `make codemirror` bundles it.
export { EditorView, drawSelection, keymap, lineNumbers } from "@codemirror/view";
export { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
export { EditorState } from "@codemirror/state";
export { StreamLanguage, indentUnit, syntaxHighlighting } from "@codemirror/language";
export { classHighlighter } from "@lezer/highlight";
export { python } from "@codemirror/legacy-modes/mode/python";
