/** Finished but unsaved recordings in the browser's database, where they outlive a reload. */

const STORE = "recordings";

/** @returns {Promise<IDBDatabase>} */
function open() {
  const request = indexedDB.open("earmark", 1);
  request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "id" });
  return answer(request);
}

function answer(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

async function ask(mode, request) {
  const database = await open();
  try {
    return await answer(request(database.transaction(STORE, mode).objectStore(STORE)));
  } finally {
    database.close();
  }
}

/** @param {import("./outbox.js").Recording} recording */
export const put = (recording) => ask("readwrite", (store) => store.put(recording));
/** @param {string} id */
export const remove = (id) => ask("readwrite", (store) => store.delete(id));
/** @returns {Promise<import("./outbox.js").Recording[]>} */
export const readAll = () => ask("readonly", (store) => store.getAll());
