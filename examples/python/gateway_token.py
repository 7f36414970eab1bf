"""Prints a token for a person: HEADWAY_TOKEN_SECRET=… python3 gateway_token.py 1

For trying. Your backend does the same for whoever is logged in.
"""

import base64, hashlib, hmac, json, os, sys, time


def token(user_id, secret, lasts=3600):
    def part(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    now = int(time.time())
    claims = {"sub": str(user_id), "aud": "headway", "iat": now, "exp": now + lasts}
    text = part(b'{"alg": "HS256", "typ": "JWT"}') + b"." + part(json.dumps(claims).encode())
    return (text + b"." + part(hmac.new(secret.encode(), text, hashlib.sha256).digest())).decode()


if __name__ == "__main__":
    secret = os.environ.get("HEADWAY_TOKEN_SECRET")
    if not secret or len(sys.argv) != 2 or not sys.argv[1].isdecimal():
        sys.exit("usage: HEADWAY_TOKEN_SECRET=… gateway_token.py USER, an id of headway.appuser")
    print(token(int(sys.argv[1]), secret))
