from tests.faults.living import tiny_company

__all__ = ["tiny_company"]
