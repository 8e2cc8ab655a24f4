"""the builder's name"""

import sqlalchemy as sa
from alembic import op

revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table('provider_config', schema=None) as batch_op:
        batch_op.add_column(sa.Column('display_name', sa.String(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table('provider_config', schema=None) as batch_op:
        batch_op.drop_column('display_name')
