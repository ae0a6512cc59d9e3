// The front page: says how the service is, and shows its own address in the example.

const state = document.getElementById("state");
const example = document.getElementById("example");

example.textContent = example.textContent.replaceAll(
  "http://127.0.0.1:8000",
  window.location.origin,
);

async function ask() {
  try {
    const answer = await fetch("/health/ready");
    const { missing } = await answer.json();
    state.className = answer.ok ? "state good" : "state bad";
    state.textContent = answer.ok ? "Ready" : `Not ready: ${missing.join(", ")} missing`;
  } catch {
    state.className = "state bad";
    state.textContent = "The service does not answer";
  }
}

ask();
