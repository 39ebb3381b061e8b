/** Login by token. The field is of type password, so that no browser shows it or fills it in elsewhere. */
import { useState } from "react";
import { logIn, messageOf } from "../live/session.js";

export function LoginPage() {
  const [token, setToken] = useState("");
  const [failure, setFailure] = useState("");
  return (
    <main className="panel login">
      <h1>SlimFast</h1>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          logIn(token).then(
            () => location.reload(),
            (error: unknown) => setFailure(messageOf(error)),
          );
        }}
      >
        <label className="field">
          <span>Token</span>
          <input type="password" autoComplete="off" value={token} required onChange={(e) => setToken(e.target.value)} />
        </label>
        {failure === "" ? null : (
          <p className="alert" role="alert">
            {failure}
          </p>
        )}
        <button type="submit" className="primary">
          Log in
        </button>
      </form>
      <p className="dim">
        A token is made by <code>slimfast console</code>, on the machine of the controller.
      </p>
    </main>
  );
}
