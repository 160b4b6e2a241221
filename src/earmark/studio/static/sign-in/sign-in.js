/** Signs a device in by the code of the address, which a QR code holds after its #, or by one that is typed. */

const form = /** @type {HTMLFormElement} */ (document.getElementById("form"));
const field = /** @type {HTMLInputElement} */ (document.getElementById("code"));
const problem = document.getElementById("problem");
const button = form.querySelector("button");

async function signIn(code) {
  button.disabled = true;
  problem.textContent = "";
  try {
    const response = await fetch("/api/session", {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Earmark": "studio" },
      body: JSON.stringify({ code }),
    });
    if (response.ok) {
      location.replace("/");
      return;
    }
    const answer = await response.json().catch(() => ({}));
    problem.textContent = answer.error ?? `The studio answered ${response.status}. Try again.`;
  } catch {
    problem.textContent = "The studio can't be reached. Is this device in the same network? Try again.";
  }
  button.disabled = false;
  field.select();
}

/** A code works once, so it is of no use in the history, nor as a bookmark. */
function takeScanned() {
  const code = location.hash.slice(1);
  if (!code) return;
  history.replaceState(null, "", "/");
  field.value = code;
  signIn(code);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  signIn(field.value);
});
addEventListener("hashchange", takeScanned);
takeScanned();
