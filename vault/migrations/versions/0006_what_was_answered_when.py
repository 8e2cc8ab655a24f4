"""what was answered when"""

from alembic import op

from vault.migrations import online

revision = '0006'
down_revision = '0005'
branch_labels = None
depends_on = None
serves_from = '0005'


def upgrade() -> None:
    online.create_index('ix_token_attempt_answered', 'token_attempt', ['answered_at'], where='answered_at IS NOT NULL')


def downgrade() -> None:
    op.drop_index('ix_token_attempt_answered', table_name='token_attempt')
