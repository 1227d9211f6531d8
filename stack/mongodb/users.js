// Makes the replica set and its users where they are missing, and gives the users the passwords of the environment.
// Safe to repeat: it runs at every start.
const admin = db.getSiblingDB('admin');
const { MONGODB_ADMIN_PASSWORD, MONGODB_PASSWORD, MONGODB_VIEWER_PASSWORD } = process.env;
const DATABASES = ['postroom', 'celery'];

function hello() {
  return admin.runCommand({ hello: 1 });
}

function hasInitiated() {
  if (!hello().setName) {
    rs.initiate({ _id: 'rs0', members: [{ _id: 0, host: 'mongodb:27017' }] });
  }
  while (!hello().isWritablePrimary) sleep(100);
}

// The first user can be made from inside the container without a password, and then none any more.
function hasAdministrator() {
  try {
    admin.createUser({ user: 'admin', pwd: MONGODB_ADMIN_PASSWORD, roles: ['root'] });
  } catch (error) {
    // there is one
  }
  try {
    admin.auth('admin', MONGODB_ADMIN_PASSWORD);
  } catch (error) {
    print('MONGODB_ADMIN_PASSWORD is not the password that this database was made with; see docs/containers.md');
    quit(1);
  }
}

function hasUser(user, pwd, role) {
  const roles = DATABASES.map((database) => ({ role, db: database }));
  if (admin.getUser(user)) {
    admin.updateUser(user, { pwd, roles });
  } else {
    admin.createUser({ user, pwd, roles });
  }
}

hasInitiated();
hasAdministrator();
hasUser('postroom', MONGODB_PASSWORD, 'readWrite');
hasUser('viewer', MONGODB_VIEWER_PASSWORD, 'read');
