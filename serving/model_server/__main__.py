"""`python -m serving.model_server --model-base-path DIR --port P --rest-port R`."""

import sys

from pydantic import ValidationError
from pydantic_settings import CliApp

from domain.errors import OfferRankError
from serving.model_server.server import run
from serving.model_server.settings import ModelServerSettings

if __name__ == "__main__":
    try:
        run(CliApp.run(ModelServerSettings))
    except ValidationError as error:
        wrong = "; ".join(f"--{'-'.join(map(str, e['loc'])).replace('_', '-')}: {e['msg']}" for e in error.errors())
        print(f"model-server: {wrong}", file=sys.stderr)
        sys.exit(2)
    except OfferRankError as error:
        sys.exit(f"model-server: {error}")
