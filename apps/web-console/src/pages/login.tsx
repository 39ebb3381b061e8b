/** Login by token. The field is of type password, so that no browser shows it or fills it in elsewhere. */
import { useState } from "react";
import { logIn, messageOf } from "../live/session.js";

export function LoginPage() {
  const [token, setToken] = useState("");
  const [failure, setFailure] = useState("");
  return (
    <main className="panel login">
      <h1 className="brand">
        <svg className="logo" viewBox="0 0 24 24" aria-hidden="true">
          <path d="M3 7h12l-4-4M21 17H9l4 4M8 12h8" />
        </svg>
        SlimFast
      </h1>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          logIn(token).then(
            () => location.reload(),
            (error: unknown) => setFailure(messageOf(error)),
          );
        }}
      >
        <div className="field">
          <label htmlFor="login-token">Token</label>
          <input
            id="login-token"
            type="password"
            autoComplete="off"
            value={token}
            required
            onChange={(e) => setToken(e.target.value)}
          />
        </div>
        {failure === "" ? null : (
          <p className="alert" role="alert">
            {failure}
          </p>
        )}
        <button type="submit" className="primary wide">
          Log in
        </button>
      </form>
      <p className="dim">
        On the machine of the controller, <code>slimfast console</code> makes a token for an administrator; others are
        made with <code>slimfast token create</code>.
      </p>
    </main>
  );
}
