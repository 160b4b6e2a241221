/** Keeps finished but unsaved recordings in the browser's database, where they survive a reload. */

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
    // Strict: what is told to be done is on the disk, and not with the system alone.
    const transaction = database.transaction(STORE, mode, { durability: "strict" });
    const [result] = await Promise.all([answer(request(transaction.objectStore(STORE))), ended(transaction)]);
    return result;
  } finally {
    database.close();
  }
}

/** A request may go well and its transaction not, where the disk is full. */
function ended(transaction) {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = resolve;
    transaction.onabort = transaction.onerror = () => reject(transaction.error);
  });
}

/** @param {import("./outbox.js").Recording} recording */
export const put = (recording) => ask("readwrite", (store) => store.put(recording));
/** @param {string} id */
export const remove = (id) => ask("readwrite", (store) => store.delete(id));
/** @returns {Promise<import("./outbox.js").Recording[]>} */
export const readAll = () => ask("readonly", (store) => store.getAll());
