// What GraphiQL leaves out for those who use a keyboard or a screen reader.

export function makeAccessible(root) {
  mend(root);
  const observer = new MutationObserver(() => mend(root));
  observer.observe(root, { subtree: true, childList: true, attributeFilter: ['aria-selected'] });
  return () => observer.disconnect();
}

function mend(root) {
  for (const field of root.querySelectorAll('.CodeMirror textarea:not([aria-label])')) {
    field.ariaLabel = field.closest('[aria-label]')?.ariaLabel ?? 'Editor';
  }
  for (const region of root.querySelectorAll('.CodeMirror-scroll[tabindex="-1"]')) region.tabIndex = 0;
  // Every entry of the history is called the same there, whatever it shows.
  for (const entry of root.querySelectorAll('.graphiql-history-item-label[aria-label]')) entry.removeAttribute('aria-label');
  // Within a tab nothing can be pressed, and there are two buttons: so it is an entry of a list.
  root.querySelector('.graphiql-tabs')?.removeAttribute('role');
  for (const tab of root.querySelectorAll('.graphiql-tab[aria-selected]')) {
    tab.querySelector('button').ariaCurrent = tab.ariaSelected;
    tab.removeAttribute('role');
    tab.removeAttribute('aria-selected');
  }
}
