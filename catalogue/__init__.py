"""What is sold, as people change it: a temporal store in SQL, who changed what, and how processes follow it.

Nothing here is imported with the package: a process that has no catalogue pays for none.
"""

from catalogue.address import CatalogueUrl

__all__ = ["CatalogueUrl"]
