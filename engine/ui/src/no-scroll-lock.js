// Menus and dialogs keep the page behind them from scrolling by a style sheet that they write into it, which the
// Content-Security-Policy refuses. This page does not scroll anyway.
export const RemoveScroll = ({ children }) => children;
