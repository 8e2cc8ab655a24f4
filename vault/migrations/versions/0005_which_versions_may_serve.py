"""which versions may serve"""

import sqlalchemy as sa
from alembic import op

revision = '0005'
down_revision = '0004'
branch_labels = None
depends_on = None
serves_from = '0004'


def upgrade() -> None:
    op.create_table(
        'schema_mark',
        sa.Column('revision', sa.String(), nullable=False),
        sa.Column('serves_from', sa.String(), nullable=False),
        sa.PrimaryKeyConstraint('revision', name='pk_schema_mark'),
    )


def downgrade() -> None:
    op.drop_table('schema_mark')
