(function () {
  "use strict";
  // Only the session's id is told, and only to the origin that opened the window; the opener asks our API for the rest.
  var said = document.currentScript.dataset;
  if (!window.opener || !said.opener) return;
  try {
    window.opener.postMessage({ type: "authpipe:done", session_id: said.session }, said.opener);
  } catch (error) {
    return; // the opener went elsewhere; the page stands for itself
  }
  if (said.closeAfter) setTimeout(function () { window.close(); }, Number(said.closeAfter));
})();
