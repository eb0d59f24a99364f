"""The web SDK as it is shipped: `offerrank.js` and its types. docs/sdk.md"""

import base64
import hashlib
from pathlib import Path

SCRIPT = Path(__file__).with_name("offerrank.js")
TYPES = Path(__file__).with_name("offerrank.d.ts")


def integrity(script: bytes) -> str:
    """What a page writes into the script tag's `integrity`: a browser runs this script and no other."""
    return f"sha384-{base64.b64encode(hashlib.sha384(script).digest()).decode()}"
