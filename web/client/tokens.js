// The tokens of the application's backend.

// How long the backend may take to supply one, in milliseconds.
const TIMEOUT = 30_000;

/** The token in use, and where the next ones come from. */
export class Tokens {
  #ask;
  /** @type {?Promise<?string>} */ #inUse = null;

  /** @param {() => Promise<?string>} ask returns a new token, null if nobody is signed in */
  constructor(ask) {
    this.#ask = ask;
  }

  /** The token in use, or a new one. @returns {Promise<?string>} */
  current() {
    if (!this.#inUse) {
      const asked = this.supply();
      this.#inUse = asked;
      asked.catch(() => this.forget(asked));
    }
    return this.#inUse;
  }

  /** A new token, to be used from now on if use() says so. @returns {Promise<?string>} */
  supply() {
    /** @type {ReturnType<typeof setTimeout>} */ let late;
    return Promise.race([
      (async () => this.#ask())(), // it may throw, too
      /** @type {Promise<never>} */ (new Promise((_, reject) => {
        late = setTimeout(() => reject(new Error("no token came")), TIMEOUT);
      })),
    ]).finally(() => clearTimeout(late));
  }

  /** @param {string} token */
  use(token) {
    this.#inUse = Promise.resolve(token);
  }

  /** The next one will be asked for. @param {?Promise<?string>} [token] only if this one is in use; by default whichever is */
  forget(token = this.#inUse) {
    if (this.#inUse === token) this.#inUse = null;
  }
}

/**
 * How long a token remains valid, in milliseconds; NaN if it does not say. The browser's clock may be wrong: if it is
 * ahead, the result is at least a tenth of the token's life; if it is behind, at most all of it.
 * @param {string} token
 */
export function remaining(token) {
  try {
    const claims = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const { exp, iat } = JSON.parse(atob(claims));
    const left = exp * 1000 - Date.now();
    if (iat === undefined) return left;
    const life = (exp - iat) * 1000;
    return Math.min(Math.max(left, life / 10), life);
  } catch {
    return NaN;
  }
}
