"""`python -m serving.model_server --model-base-path DIR --port P --rest-port R`."""

import sys

from pydantic import ValidationError
from pydantic_settings import CliApp

from domain.errors import OfferRankError
from domain.refusals import first_refusal
from serving.model_server.server import run
from serving.model_server.settings import ModelServerSettings

if __name__ == "__main__":
    try:
        run(CliApp.run(ModelServerSettings))
    except ValidationError as error:
        wrong = first_refusal(error)
        option = "-".join(map(str, wrong.location)).replace("_", "-")
        print(f"model-server: --{option}: {wrong.sentence}", file=sys.stderr)
        sys.exit(2)
    except OfferRankError as error:
        sys.exit(f"model-server: {error}")
