"""Campaigns are found by their advertiser as offers are by their campaign, and so is what is gone."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """What was the campaign of an offer is the parent of any entry."""
    of_body = "json_extract(body, '$.advertiser')"
    if op.get_context().dialect.name == "postgresql":
        of_body = "CAST(body AS json) ->> 'advertiser'"
    op.drop_index("entry_by_campaign", "entry")
    op.execute(sa.text("ALTER TABLE entry RENAME COLUMN campaign TO parent"))
    op.execute(sa.text(f"UPDATE entry SET parent = {of_body} WHERE kind = 'campaign' AND body IS NOT NULL"))
    last = "before.kind = entry.kind AND before.id = entry.id AND before.until = entry.version"
    op.execute(sa.text(f"UPDATE entry SET parent = (SELECT before.parent FROM entry AS before WHERE {last}) WHERE body IS NULL"))
    op.create_index("entry_by_parent", "entry", ["parent"])
