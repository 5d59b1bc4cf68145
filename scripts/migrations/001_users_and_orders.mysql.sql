create table users (
  id            bigint auto_increment primary key,
  email         varchar(254) not null,                -- in lower case
  password_hash varchar(255) not null,
  nickname      varchar(254) not null,
  login_count   bigint not null default 0,
  last_login_at datetime(6) null default null,
  created_at    datetime(6) not null,
  constraint users_email_key unique (email)
);

create table orders (
  id         bigint auto_increment primary key,
  order_no   varchar(64) not null,
  user_id    bigint not null,
  product    varchar(64) not null,
  amount     bigint not null,                         -- in the currency's smallest unit
  currency   varchar(3) not null,
  state      varchar(64) not null,
  created_at datetime(6) not null,
  expires_at datetime(6) not null,
  constraint orders_order_no_key unique (order_no),
  constraint orders_user_id_fkey foreign key (user_id) references users (id),
  constraint orders_amount_check check (amount > 0),
  constraint orders_state_check check (state in ('PENDING', 'PAID', 'EXPIRED', 'CANCELLED'))
);

create index orders_of_a_user on orders (user_id, created_at, id);

-- What the application keeps about itself, such as the key that development signs tokens with.
create table settings (
  name  varchar(100) primary key,
  value longtext not null
);
