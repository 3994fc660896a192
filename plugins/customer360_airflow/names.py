"""Names of DAGs that more than their own file must know."""

BUILD = "build_customer_360"
ACTIVATE = "activate_customers"
TRAIN = "train_models"
